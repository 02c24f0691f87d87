#!/bin/sh
# Starts Kafka: formats the volume when it is empty, serves, and makes the topics that are missing.
# Usage: start.sh ADVERTISED_ADDRESS [TOPIC:PARTITIONS]...
set -eu
PATH=$PATH:/opt/kafka/bin
advertised=$1
shift
{
  cat /etc/soma-infra/server.properties
  echo "advertised.listeners=PLAINTEXT://$advertised"
} >/tmp/server.properties

kafka-storage.sh format --cluster-id c29tYS1pbmZyYS1rYWZrYQ --ignore-formatted --config /tmp/server.properties

topics() { # tries until each is there: the server below needs some seconds
  for topic in "$@"; do
    until kafka-topics.sh --bootstrap-server localhost:9092 --create --if-not-exists \
      --topic "${topic%:*}" --partitions "${topic##*:}"; do
      sleep 2
    done
  done
}
topics "$@" &
exec kafka-server-start.sh /tmp/server.properties
