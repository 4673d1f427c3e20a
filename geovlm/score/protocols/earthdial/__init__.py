"""EarthDial's protocols."""
