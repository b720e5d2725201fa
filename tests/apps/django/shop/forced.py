"""The shop, sending everybody to https by itself."""
from shop.settings import *  # noqa: F401,F403

SECURE_SSL_REDIRECT = True
