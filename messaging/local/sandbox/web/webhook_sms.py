"""A receiver of our webhook protocol, for text messages."""

from messaging.channel import Channel
from messaging.local.sandbox.webhook_receiver import stand_in

STAND_IN = stand_in(Channel.SMS)
