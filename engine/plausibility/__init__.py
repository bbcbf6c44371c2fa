"""Whether weights find plausible faces with the settings of a config, or with others that their tensors allow."""
