"""Windows of a large scene, and the detections in them merged."""
