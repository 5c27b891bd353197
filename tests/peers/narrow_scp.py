"""A storage SCP for tests that takes CT images and nothing else.

Usage: narrow_scp.py PORT
"""

import sys

from pynetdicom import AE, evt
from pynetdicom.sop_class import CTImageStorage, Verification

ae = AE(ae_title="NARROW")
ae.add_supported_context(Verification)
ae.add_supported_context(CTImageStorage)
server = ae.start_server(("127.0.0.1", int(sys.argv[1])), block=False, evt_handlers=[(evt.EVT_C_STORE, lambda event: 0x0000)])
print("listening", flush=True)
sys.stdin.read()  # until the test goes
server.shutdown()
