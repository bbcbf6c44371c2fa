"""Settings: of a model, of detection, and of number formats; the presets."""
