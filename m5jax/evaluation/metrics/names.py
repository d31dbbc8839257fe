"""What names of metrics say."""

# Of all others more is better.
LESS_IS_BETTER = frozenset(
    {
        *("loss", "log_loss", "nats_per_token", "nats_per_character", "normalized_entropy"),
        *("mae", "rmse", "expected_calibration_error", "semer", "irer"),
    }
)
