"""Background work: what is nobody's call. Each file is one work; `running` says when and by whom it is done."""
