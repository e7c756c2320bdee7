"""Keeps each customer's last redemption in a CRM."""
