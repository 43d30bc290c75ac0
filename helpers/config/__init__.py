"""Settings: what a lesson lets you set, what each profile sets, and the checks of both."""
