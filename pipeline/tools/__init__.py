"""What commands need and the daemon never imports."""
