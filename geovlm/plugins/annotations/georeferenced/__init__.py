"""From a vector layer over georeferenced scenes to boxes in windows."""
