"""Rewards of image-blind answers, compared with the correct one."""
