"""The used fields as msgspec structs, for the peers that leave the decoding to their user."""

import msgspec

from bench.peers.ledger import Row


class Customer(msgspec.Struct):
    id: str


class Order(msgspec.Struct):
    id: str
    total_amount: int


class Redemption(msgspec.Struct):
    id: str
    date: str


class Payload(msgspec.Struct):
    redemption: Redemption
    customer: Customer
    order: Order

    @property
    def row(self) -> Row:
        return self.redemption.id, self.customer.id, self.order.total_amount // 100


decode = msgspec.json.Decoder(Payload).decode
