"""Black-box tests: the installed wheel, real servers, neutral clients."""
