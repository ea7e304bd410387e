"""Fixed training problems, one file each."""
