"""Between protobuf and the domain: nothing is decided here."""
