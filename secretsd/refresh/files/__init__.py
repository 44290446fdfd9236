"""Published files: how they are written, where they lie, who watches them."""
