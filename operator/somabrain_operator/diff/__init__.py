"""How a live object differs from what was rendered: what is changed or missing, and what others added. Pure."""
