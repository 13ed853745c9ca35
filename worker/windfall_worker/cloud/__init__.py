"""Clients of the cloud's two protocols, behind the fleet's guards."""
