"""Language models behind one interface: a prompt goes in, a reply with its usage comes out, or a fault."""
