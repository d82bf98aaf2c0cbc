"""An RTSP server of GStreamer's, in a process of its own: python3 rtsp_server.py PORT WIDTH HEIGHT RATE tcp|udp < raw RGB.

Run by `liveservers.RtspServer` with whichever Python has GStreamer's bindings; imports nothing of the project.
"""

from __future__ import annotations

import sys
import threading

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402

LAUNCH = (
    "( appsrc name=frames is-live=true do-timestamp=true format=time max-buffers=2 leaky-type=downstream "
    "caps=video/x-raw,format=RGB,width={width},height={height},framerate={rate}/1 ! videoconvert ! "
    "video/x-raw,format=I420 ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max={rate} bitrate=3000 ! "
    "rtph264pay name=pay0 pt=96 config-interval=1 "
    "appsrc name=sounds is-live=true do-timestamp=true format=time max-bytes=8000 leaky-type=downstream "
    "caps=audio/x-mulaw,rate=8000,channels=1 ! rtppcmupay name=pay1 pt=0 )"
)
TONE = bytes([0xFF, 0x9F, 0x8F, 0x9F, 0xFF, 0x1F, 0x0F, 0x1F])  # a thousand hertz, roughly, in u-law


def main() -> None:
    """Serve rtsp://127.0.0.1:PORT/live until standard input ends."""
    port, width, height, rate, transport = sys.argv[1:6]
    Gst.init(None)
    media: list[GstRtspServer.RTSPMedia] = []
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(port)
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(LAUNCH.format(width=width, height=height, rate=rate))
    factory.set_shared(True)
    factory.set_latency(0)
    factory.set_protocols(GstRtsp.RTSPLowerTrans.TCP if transport == "tcp" else GstRtsp.RTSPLowerTrans.UDP)
    factory.connect("media-configure", lambda _, one: media.append(one.get_element()))
    server.get_mount_points().add_factory("/live", factory)
    if not server.attach(None):
        sys.exit(f"port {port} is taken")
    loop = GLib.MainLoop()

    def feed() -> None:
        size = int(width) * int(height) * 3
        while len(picture := sys.stdin.buffer.read(size)) == size:
            for one in media[-1:]:
                one.get_by_name("frames").emit("push-buffer", Gst.Buffer.new_wrapped(picture))
                one.get_by_name("sounds").emit(
                    "push-buffer", Gst.Buffer.new_wrapped(TONE * (8000 // int(rate) // len(TONE)))
                )
        loop.quit()

    threading.Thread(target=feed, daemon=True).start()
    print("ready", flush=True)
    loop.run()


main()
