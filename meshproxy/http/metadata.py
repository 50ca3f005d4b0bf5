"""What METADATA of a stream is between codecs: names and values, in no order that counts."""

MetadataMap = dict[bytes, bytes]
