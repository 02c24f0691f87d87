"""gRPC servicers: conversion between protobuf and the domain, without further logic."""
