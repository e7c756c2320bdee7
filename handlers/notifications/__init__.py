"""Notifications: messages about redemptions to customers, holders, staff and other systems."""
