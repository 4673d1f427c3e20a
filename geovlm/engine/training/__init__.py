"""SFT, probe and GRPO."""
