# A VPC for the functions, where they are to have one: the module's own or one that is there.

locals {
  in_vpc     = var.vpc != null || var.new_vpc != null
  vpc_id     = var.new_vpc != null ? one(aws_vpc.own[*].id) : try(var.vpc.id, null)
  zones      = try(var.new_vpc.zones, [])
  has_nat    = try(var.new_vpc.nat, false)
  subnet_ids = var.new_vpc != null ? [for zone in local.zones : aws_subnet.private[zone].id] : try(var.vpc.subnet_ids, null)
  route_table_ids = concat(
    [for zone in local.zones : aws_route_table.private[zone].id], try(var.vpc.route_table_ids, []),
  )
}

resource "aws_vpc" "own" {
  #checkov:skip=CKV2_AWS_11:only the functions are in it, and they log what they do; flow logs are the account's choice
  count                = var.new_vpc == null ? 0 : 1
  cidr_block           = var.new_vpc.cidr
  enable_dns_hostnames = true
  enable_dns_support   = true
  tags                 = merge(var.tags, { Name = var.name })
}

# Nothing uses the group that comes with a VPC, so it lets nothing through.
resource "aws_default_security_group" "own" {
  count  = var.new_vpc == null ? 0 : 1
  vpc_id = aws_vpc.own[0].id
  tags   = merge(var.tags, { Name = "${var.name}-unused" })
}

resource "aws_subnet" "private" {
  for_each          = toset(local.zones)
  vpc_id            = aws_vpc.own[0].id
  availability_zone = each.key
  cidr_block        = cidrsubnet(var.new_vpc.cidr, 3, index(local.zones, each.key))
  tags              = merge(var.tags, { Name = "${var.name}-${each.key}" })
}

resource "aws_route_table" "private" {
  for_each = toset(local.zones)
  vpc_id   = aws_vpc.own[0].id
  tags     = merge(var.tags, { Name = "${var.name}-${each.key}" })
}

resource "aws_route_table_association" "private" {
  for_each       = toset(local.zones)
  subnet_id      = aws_subnet.private[each.key].id
  route_table_id = aws_route_table.private[each.key].id
}

# The way out: one NAT gateway, so that partners see one address.
resource "aws_internet_gateway" "own" {
  count  = local.has_nat ? 1 : 0
  vpc_id = aws_vpc.own[0].id
  tags   = merge(var.tags, { Name = var.name })
}

resource "aws_subnet" "public" {
  count             = local.has_nat ? 1 : 0
  vpc_id            = aws_vpc.own[0].id
  availability_zone = local.zones[0]
  cidr_block        = cidrsubnet(var.new_vpc.cidr, 3, 7)
  tags              = merge(var.tags, { Name = "${var.name}-public" })
}

resource "aws_route_table" "public" {
  count  = local.has_nat ? 1 : 0
  vpc_id = aws_vpc.own[0].id
  tags   = merge(var.tags, { Name = "${var.name}-public" })
}

resource "aws_route" "public" {
  count                  = local.has_nat ? 1 : 0
  route_table_id         = aws_route_table.public[0].id
  destination_cidr_block = "0.0.0.0/0"
  gateway_id             = aws_internet_gateway.own[0].id
}

resource "aws_route_table_association" "public" {
  count          = local.has_nat ? 1 : 0
  subnet_id      = aws_subnet.public[0].id
  route_table_id = aws_route_table.public[0].id
}

resource "aws_eip" "nat" {
  #checkov:skip=CKV2_AWS_19:it is the NAT gateway's
  count  = local.has_nat ? 1 : 0
  domain = "vpc"
  tags   = merge(var.tags, { Name = "${var.name}-nat" })
}

resource "aws_nat_gateway" "own" {
  count         = local.has_nat ? 1 : 0
  allocation_id = aws_eip.nat[0].id
  subnet_id     = aws_subnet.public[0].id
  tags          = merge(var.tags, { Name = var.name })

  depends_on = [aws_internet_gateway.own]
}

resource "aws_route" "private" {
  for_each               = toset(local.has_nat ? local.zones : [])
  route_table_id         = aws_route_table.private[each.key].id
  destination_cidr_block = "0.0.0.0/0"
  nat_gateway_id         = aws_nat_gateway.own[0].id
}

# Functions are never called over the network, so nothing comes in; out go HTTPS and the SFTP servers.
resource "aws_security_group" "functions" {
  #checkov:skip=CKV2_AWS_5:it is the functions'
  count       = local.in_vpc ? 1 : 0
  name        = "${var.name}-functions"
  description = "Functions of ${var.name}: HTTPS and SFTP go out, nothing comes in"
  vpc_id      = local.vpc_id
  tags        = merge(var.tags, { Name = "${var.name}-functions" })
}

resource "aws_vpc_security_group_egress_rule" "https" {
  for_each          = toset(local.in_vpc ? var.https_cidrs : [])
  security_group_id = aws_security_group.functions[0].id
  description       = "AWS and webhooks"
  cidr_ipv4         = each.key
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

resource "aws_vpc_security_group_egress_rule" "sftp" {
  for_each          = { for server in local.in_vpc ? var.sftp_servers : [] : "${server.cidr}:${server.port}" => server }
  security_group_id = aws_security_group.functions[0].id
  description       = "SFTP server"
  cidr_ipv4         = each.value.cidr
  ip_protocol       = "tcp"
  from_port         = each.value.port
  to_port           = each.value.port
}

resource "aws_security_group" "endpoints" {
  #checkov:skip=CKV2_AWS_5:it is the endpoints'
  count       = local.in_vpc && length(var.interface_endpoints) > 0 ? 1 : 0
  name        = "${var.name}-endpoints"
  description = "Interface endpoints of ${var.name}: HTTPS comes in from the functions"
  vpc_id      = local.vpc_id
  tags        = merge(var.tags, { Name = "${var.name}-endpoints" })
}

resource "aws_vpc_security_group_ingress_rule" "endpoints" {
  count                        = length(aws_security_group.endpoints)
  security_group_id            = aws_security_group.endpoints[0].id
  description                  = "Functions"
  referenced_security_group_id = aws_security_group.functions[0].id
  ip_protocol                  = "tcp"
  from_port                    = 443
  to_port                      = 443
}

resource "aws_vpc_security_group_egress_rule" "endpoints" {
  count                        = length(aws_security_group.endpoints)
  security_group_id            = aws_security_group.functions[0].id
  description                  = "Interface endpoints"
  referenced_security_group_id = aws_security_group.endpoints[0].id
  ip_protocol                  = "tcp"
  from_port                    = 443
  to_port                      = 443
}

# A gateway endpoint changes the way to a service, not its addresses: they must be let out, where not all are.
data "aws_ec2_managed_prefix_list" "gateway" {
  for_each = local.in_vpc && !contains(var.https_cidrs, "0.0.0.0/0") ? var.gateway_endpoints : []
  name     = "com.amazonaws.${local.region}.${each.key}"
}

resource "aws_vpc_security_group_egress_rule" "gateway" {
  for_each          = data.aws_ec2_managed_prefix_list.gateway
  security_group_id = aws_security_group.functions[0].id
  description       = "Gateway endpoint of ${each.key}"
  prefix_list_id    = each.value.id
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

resource "aws_vpc_endpoint" "interface" {
  for_each            = local.in_vpc ? var.interface_endpoints : []
  vpc_id              = local.vpc_id
  service_name        = "com.amazonaws.${local.region}.${each.key}"
  vpc_endpoint_type   = "Interface"
  subnet_ids          = local.subnet_ids
  security_group_ids  = aws_security_group.endpoints[*].id
  private_dns_enabled = true
  tags                = merge(var.tags, { Name = "${var.name}-${each.key}" })
}

resource "aws_vpc_endpoint" "gateway" {
  for_each          = local.in_vpc && (var.new_vpc != null || length(try(var.vpc.route_table_ids, [])) > 0) ? var.gateway_endpoints : []
  vpc_id            = local.vpc_id
  service_name      = "com.amazonaws.${local.region}.${each.key}"
  vpc_endpoint_type = "Gateway"
  route_table_ids   = local.route_table_ids
  tags              = merge(var.tags, { Name = "${var.name}-${each.key}" })
}
