# The shop's cloud. Weak on purpose: see README.md.

resource "aws_s3_bucket" "receipts" {
  bucket = "weak-app-receipts"
  acl    = "public-read"
}

resource "aws_security_group" "shop" {
  name = "weak-app"

  ingress {
    from_port   = 0
    to_port     = 65535
    protocol    = "tcp"
    cidr_blocks = ["0.0.0.0/0"]
  }
}

resource "aws_db_instance" "orders" {
  identifier          = "weak-app-orders"
  engine              = "postgres"
  instance_class      = "db.t4g.micro"
  allocated_storage   = 20
  username            = "shop"
  password            = "made-up-and-opens-nothing"
  publicly_accessible = true
  storage_encrypted   = false
  skip_final_snapshot = true
}

resource "aws_iam_policy" "shop" {
  name = "weak-app"
  policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Action = "*", Resource = "*" }]
  })
}
