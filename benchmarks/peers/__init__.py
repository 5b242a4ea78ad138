"""Scripts that peers run in their own environments; none of it imports trivet, nor anything of this project."""
