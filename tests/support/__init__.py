"""What several test files share. On the path as `support`: setup.cfg names ``pythonpath = tests``."""
