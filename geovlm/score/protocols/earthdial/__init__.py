"""The protocols of EarthDial's evaluation scripts."""
