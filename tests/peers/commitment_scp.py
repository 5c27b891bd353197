"""A PACS for tests that stores nothing and answers storage commitment requests, on the same association or a new one.

Usage: commitment_scp.py PORT REPORT_PORT [MODE]  (REPORT_PORT 0: report on the association that asked).

MODE: `some` commits to all but the last object of each request; `all` to everything, after a report about a transaction of nobody's;
`second` does `some` for the first request and `all` for the others; `told` takes requests and reports on all of them when a line comes in
on standard input. What it is sent is told on standard error, a line each.
"""

import sys
import threading
import time

from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from pynetdicom import AE, StoragePresentationContexts, build_role, evt
from pynetdicom.sop_class import StorageCommitmentPushModel

INSTANCE = "1.2.840.10008.1.20.1.1"
port, report_port = int(sys.argv[1]), int(sys.argv[2])
mode = sys.argv[3] if len(sys.argv) > 3 else "some"
asked = []


def report_of(request, keeps_all):
    report = Dataset()
    report.TransactionUID = request.TransactionUID
    objects = list(request.ReferencedSOPSequence)
    if keeps_all:
        report.ReferencedSOPSequence = objects
        return report
    report.ReferencedSOPSequence = objects[:-1]
    failed = Dataset()
    failed.ReferencedSOPClassUID = objects[-1].ReferencedSOPClassUID
    failed.ReferencedSOPInstanceUID = objects[-1].ReferencedSOPInstanceUID
    failed.FailureReason = 0x0112
    report.FailedSOPSequence = [failed]
    return report


def send(assoc, report):
    event = 2 if "FailedSOPSequence" in report else 1
    status, _ = assoc.send_n_event_report(report, event, StorageCommitmentPushModel, INSTANCE)
    print(f"reported, answer {status.Status if status else None}", file=sys.stderr, flush=True)


def on_new_association(reports):
    ae = AE(ae_title="KEEPER")
    ae.add_requested_context(StorageCommitmentPushModel)
    role = build_role(StorageCommitmentPushModel, scp_role=True)
    assoc = ae.associate("127.0.0.1", report_port, ext_neg=[role], ae_title="OVERREAD")
    for report in reports:
        send(assoc, report)
    assoc.release()


def on_same_association(assoc, reports):
    time.sleep(0.2)  # the response to N-ACTION goes first
    for report in reports:
        send(assoc, report)


def on_action(event):
    asked.append(event.action_information)
    print("asked", file=sys.stderr, flush=True)
    if mode == "told":
        return 0x0000, None
    keeps_all = mode == "all" or (mode == "second" and len(asked) > 1)
    reports = [report_of(event.action_information, keeps_all)]
    if mode == "all" and report_port:
        other = report_of(event.action_information, False)
        other.TransactionUID = generate_uid()
        reports.insert(0, other)
    if report_port:
        threading.Thread(target=on_new_association, args=(reports,)).start()
    else:
        threading.Thread(target=on_same_association, args=(event.assoc, reports)).start()
    return 0x0000, None


def on_store(event):
    print("stored", file=sys.stderr, flush=True)
    return 0x0000


ae = AE(ae_title="OVERREAD")
ae.add_supported_context(StorageCommitmentPushModel, scu_role=True, scp_role=True)
for context in StoragePresentationContexts:
    ae.add_supported_context(context.abstract_syntax, context.transfer_syntax)
handlers = [(evt.EVT_N_ACTION, on_action), (evt.EVT_C_STORE, on_store)]
server = ae.start_server(("127.0.0.1", port), block=False, evt_handlers=handlers)
print("listening", flush=True)
for _ in sys.stdin:  # until the test goes
    on_new_association([report_of(request, True) for request in asked])
server.shutdown()
