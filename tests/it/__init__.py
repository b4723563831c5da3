"""What the Rust tests start from Python."""
