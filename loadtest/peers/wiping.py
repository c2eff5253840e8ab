#!/usr/bin/env python3
"""What wiping freed memory costs: CPU per send of the gateway beside the same gateway without its wiping allocator."""

import argparse

import lab

# The template message of the policy benchmark: 640 bytes.
SEND = """
wrk.method = "POST"
wrk.headers["Authorization"] = "Bearer KEY"
wrk.headers["Content-Type"] = "application/json"
wrk.body = [[BODY]]
"""
TEMPLATE = (
    '{"messaging_product":"whatsapp","recipient_type":"individual","to":"+15550100001","type":"template","template":'
    '{"name":"appointment_reminder","language":{"code":"en_US"},"components":[{"type":"header","parameters":'
    '[{"type":"text","text":"Dr. Example"}]},{"type":"body","parameters":[{"type":"text","text":"Monday, 23 November"},'
    '{"type":"text","text":"09:40"},{"type":"text","text":"Room 12, second floor"}]},{"type":"button","sub_type":'
    '"quick_reply","index":"0","parameters":[{"type":"payload","payload":"confirm-6f1d"}]},{"type":"button","sub_type":'
    '"quick_reply","index":"1","parameters":[{"type":"payload","payload":"cancel-6f1d"}]}]}}'
)


def measure():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=9)
    arguments.add_argument("--seconds", type=int, default=4, help="of load for each side and round")
    options = arguments.parse_args()
    lab.need("wrk", "taskset")
    release = lab.build("--package", "curfew", "--bin", "curfew", "--example", "without_wiping")
    with lab.Bench() as bench:
        script = bench.folder / "send.lua"
        script.write_text(SEND.replace("KEY", lab.CALLER_KEY).replace("BODY", TEMPLATE))
        emulator = bench.emulator(release / "curfew")
        gateways = {
            "without wiping": bench.gateway("without-wiping", release / "examples" / "without_wiping", emulator),
            "with wiping": bench.gateway("with-wiping", release / "curfew", emulator),
        }

        def side(gateway):
            url = f"http://127.0.0.1:{gateway.port}/v23.0/{lab.NUMBER}/messages"
            return lambda: lab.cpu_per_request(
                gateway, lambda: lab.wrk(url, seconds=options.seconds, connections=32, script=script)
            )

        measured = lab.interleaved({name: side(gateway) for name, gateway in gateways.items()}, options.rounds)
    lab.table(measured, "CPU µs per send", "without wiping")


lab.main(measure)
