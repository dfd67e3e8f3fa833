"""What people type and read: trees of objects as text."""
