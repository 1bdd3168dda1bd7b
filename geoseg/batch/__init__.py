"""Many scenes: what is to be done, who does it, what became of it; one scene is `workflows`' matter."""
