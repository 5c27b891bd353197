#!/usr/bin/env python3
"""Sends files by C-STORE as they are, without parsing their data sets: a sender that does not know that what it sends is damaged.

    send_raw.py PORT AE_TITLE FILE...

Prints a JSON array with the status of each, a number; null where there was no answer.
"""

import json
import sys

from pynetdicom import AE, _config
from pydicom.filereader import read_file_meta_info

_config.STORE_SEND_CHUNKED_DATASET = True


def main():
    port, title, *files = sys.argv[1:]
    entity = AE("RAW")
    metas = [read_file_meta_info(path) for path in files]
    for sop_class, syntax in sorted({(m.MediaStorageSOPClassUID, m.TransferSyntaxUID) for m in metas}):
        entity.add_requested_context(sop_class, syntax)
    association = entity.associate("127.0.0.1", int(port), ae_title=title)
    assert association.is_established, "no association"
    answers = [association.send_c_store(path) for path in files]
    association.release()
    print(json.dumps([answer.get("Status") for answer in answers]))


if __name__ == "__main__":
    main()
