"""Whether weights were trained with the settings of a config: what tells it beside names and shapes."""
