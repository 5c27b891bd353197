"""A storage commitment SCP for tests: commits to all but the last object, on the same association or a new one.

Usage: commitment_scp.py PORT REPORT_PORT  (REPORT_PORT 0: report on the association that asked).
"""

import sys
import threading
import time

from pydicom.dataset import Dataset
from pynetdicom import AE, build_role, evt
from pynetdicom.sop_class import StorageCommitmentPushModel

INSTANCE = "1.2.840.10008.1.20.1.1"
port, report_port = int(sys.argv[1]), int(sys.argv[2])


def report_of(request):
    report = Dataset()
    report.TransactionUID = request.TransactionUID
    objects = list(request.ReferencedSOPSequence)
    report.ReferencedSOPSequence = objects[:-1]
    failed = Dataset()
    failed.ReferencedSOPClassUID = objects[-1].ReferencedSOPClassUID
    failed.ReferencedSOPInstanceUID = objects[-1].ReferencedSOPInstanceUID
    failed.FailureReason = 0x0112
    report.FailedSOPSequence = [failed]
    return report


def on_new_association(report):
    ae = AE(ae_title="KEEPER")
    ae.add_requested_context(StorageCommitmentPushModel)
    role = build_role(StorageCommitmentPushModel, scp_role=True)
    assoc = ae.associate("127.0.0.1", report_port, ext_neg=[role], ae_title="OVERREAD")
    assoc.send_n_event_report(report, 2, StorageCommitmentPushModel, INSTANCE)
    assoc.release()


def on_same_association(assoc, report):
    time.sleep(0.2)  # the response to N-ACTION goes first
    assoc.send_n_event_report(report, 2, StorageCommitmentPushModel, INSTANCE)


def on_action(event):
    report = report_of(event.action_information)
    if report_port:
        threading.Thread(target=on_new_association, args=(report,)).start()
    else:
        threading.Thread(target=on_same_association, args=(event.assoc, report)).start()
    return 0x0000, None


ae = AE(ae_title="OVERREAD")
ae.add_supported_context(StorageCommitmentPushModel, scu_role=True, scp_role=True)
server = ae.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_N_ACTION, on_action)])
print("listening", flush=True)
sys.stdin.read()  # until the test goes
server.shutdown()
