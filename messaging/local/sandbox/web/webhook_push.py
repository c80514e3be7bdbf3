"""A receiver of our webhook protocol, for push messages."""

from messaging.channel import Channel
from messaging.local.sandbox.webhook_receiver import stand_in

STAND_IN = stand_in(Channel.PUSH)
