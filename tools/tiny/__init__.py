"""Tiny pretrained checkpoints, one per architecture taught, and the script that trains them."""
