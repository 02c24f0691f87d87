"""gRPC servicers: conversion between protobuf and the domain, without logic of their own."""
