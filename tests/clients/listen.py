"""Listens with sseclient-py: `listen.py URL [LAST_EVENT_ID]` writes each event as a line of JSON."""

import json
import sys

import requests
import sseclient

url, *last_event_id = sys.argv[1:]
# As a text it would be sent in Latin-1, which has few letters.
headers = {"Last-Event-ID": id.encode() for id in last_event_id}
response = requests.get(url, headers={"Accept": "text/event-stream", **headers}, stream=True)
response.raise_for_status()
for event in sseclient.SSEClient(response).events():
    print(json.dumps({"id": event.id, "event": event.event, "data": event.data}), flush=True)
