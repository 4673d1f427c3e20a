"""From completions to scores, controls and blind baselines."""
