"""Quadrotor tasks."""
