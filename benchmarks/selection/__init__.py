"""The selection study: training runs on a shop made from KAGL, and the regret of selection rules on other domains."""
