#!/usr/bin/env python3
"""What a cached download costs: CPU per MiB of the gateway's cache beside nginx `proxy_cache`, one worker each."""

import argparse
import random

import lab

MIB = 1024 * 1024

NGINX = """
worker_processes 1;
daemon off;
pid FOLDER/nginx.pid;
error_log stderr error;
events {}
http {
    access_log off;
    sendfile on;
    tcp_nopush on;
    proxy_cache_path FOLDER/cache keys_zone=media:1m;
    proxy_temp_path FOLDER/proxy;
    client_body_temp_path FOLDER/body;
    fastcgi_temp_path FOLDER/fastcgi;
    uwsgi_temp_path FOLDER/uwsgi;
    scgi_temp_path FOLDER/scgi;
    server {
        listen 127.0.0.1:PORT;
        location / {
            proxy_pass http://127.0.0.1:UPSTREAM;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_cache media;
            proxy_cache_valid 200 1h;
            proxy_ignore_headers Cache-Control Expires Set-Cookie Vary;
        }
    }
}
"""


def measure():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=9)
    arguments.add_argument("--seconds", type=int, default=4, help="of load for each side and round")
    options = arguments.parse_args()
    lab.need("nginx", "wrk", "taskset")
    release = lab.build("--package", "curfew", "--bin", "curfew")
    with lab.Bench() as bench:
        emulator = bench.emulator(release / "curfew")
        gateway = bench.gateway("curfew", release / "curfew", emulator)
        port = lab.free_port()
        config = bench.folder / "nginx.conf"
        config.write_text(
            NGINX.replace("FOLDER", str(bench.folder)).replace("PORT", str(port)).replace("UPSTREAM", str(emulator.port))
        )
        nginx = bench.start("nginx", ["nginx", "-c", config, "-p", bench.folder], core=lab.MEASURED_CORE, port=port)
        content = random.Random(1).randbytes(MIB)
        media = lab.upload(gateway.port, content, "image/jpeg")

        def download(program, upstream_port):
            # A new URL each round, since none is good for more than five minutes; nginx is asked for the media host's own.
            url = lab.media_url(upstream_port, media)
            target = lab.target_of(url)
            if lab.request(program.port, "GET", target) != content:
                raise lab.Unmeasurable(f"{program.name} serves other bytes than were uploaded")
            headers = {"Authorization": f"Bearer {lab.CALLER_KEY}"}
            address = f"http://127.0.0.1:{program.port}{target}"
            return lab.cpu_per_request(
                program, lambda: lab.wrk(address, seconds=options.seconds, connections=8, headers=headers)
            )

        sides = {
            "nginx proxy_cache": lambda: download(nginx, emulator.port),
            "Curfew": lambda: download(gateway, gateway.port),
        }
        measured = lab.interleaved(sides, options.rounds)
    lab.table(measured, "CPU µs per MiB", "nginx proxy_cache")


lab.main(measure)
