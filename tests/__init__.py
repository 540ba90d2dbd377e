# A package, since dcase_util installs one of this name into the environment, which would otherwise be found first.
