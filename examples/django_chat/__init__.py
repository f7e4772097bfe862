"""Three chats and an echo in Django, with logins and the admin."""
