"""The fault suite: the policy node and the command node as processes, and everything that can go wrong around them."""
