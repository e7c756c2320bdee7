"""What a team would pick instead, each written the way its documentation suggests."""
