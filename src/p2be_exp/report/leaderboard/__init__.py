"""A leaderboard: results of anybody's networks, checked and ranked on one page."""
